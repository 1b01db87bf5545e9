"""The keys of RecBole 1.2.1 itself, declared: its own Config takes any value, which fails later or is passed over."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from recbole_mm.host.recbole_types import (
    Columns,
    Evaluation,
    GradientClipping,
    Intervals,
    Lower,
    NegativeSampling,
    Text,
    Upper,
    codec,
    devices,
    different,
    joined,
    no_sampling,
    no_sparse_adam,
    one_column,
    three_splits,
)
from recbole_mm.settings import Count, CountOrZero, Counts, Names, Place, Real, Settings, Weight, Whole, Workers


class RecBoleSettings(Settings):
    """Keys of RecBole's ``overall.yaml`` and ``dataset/sample.yaml``, with its defaults and meanings."""

    gpu_id: Annotated[str, BeforeValidator(joined), AfterValidator(devices)] = "0"
    """GPUs to use, such as 0 or 0,1; empty for none."""
    worker: Workers = 0
    """Processes that load data."""
    use_gpu: bool = True
    """Whether to use a GPU."""
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 2020
    """Random seed."""
    state: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], Upper] = "INFO"
    """Level of the log."""
    reproducibility: bool = True
    """Whether results are to be reproducible."""
    data_path: Place = "dataset/"
    """Folder that holds the folders of data sets."""
    checkpoint_dir: Place = "saved"
    """Folder of checkpoints."""
    show_progress: bool = True
    """Whether to show a progress bar."""
    save_dataset: bool = False
    """Whether to save the filtered data set."""
    dataset_save_path: Place | None = None
    """A saved data set, a pickle, to open instead of the files."""
    save_dataloaders: bool = False
    """Whether to save the split data."""
    dataloaders_save_path: Place | None = None
    """Saved split data, a pickle, to open instead of splitting."""
    log_wandb: bool = False
    """Whether to log to Weights & Biases."""
    wandb_project: Text = "recbole"
    """Project of Weights & Biases."""
    shuffle: bool = True
    """Whether to shuffle the training data before each epoch."""
    epochs: CountOrZero = 300
    """Most training epochs."""
    train_batch_size: Count = 2048
    """Rows of a training batch."""
    learner: Annotated[
        Literal["adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam"], Lower, AfterValidator(no_sparse_adam)
    ] = "adam"
    """Optimizer."""
    learning_rate: Weight = 0.001
    """Learning rate."""
    train_neg_sample_args: Annotated[NegativeSampling | None, BeforeValidator(no_sampling)] = NegativeSampling()
    """Negative items of a training row; none with ~."""
    eval_step: CountOrZero = 1
    """Epochs from one validation to the next; 0: no validation."""
    stopping_step: CountOrZero = 10
    """Training ends after more than so many validations without a better one."""
    clip_grad_norm: GradientClipping | None = None
    """Arguments of torch's clip_grad_norm_, such as {'max_norm': 5}."""
    weight_decay: Weight = 0.0
    """Weight decay of the optimizer."""
    loss_decimal_place: Annotated[CountOrZero, Field(le=15)] = 4
    """Decimal places of losses in the log."""
    require_pow: bool = False
    """Whether RecBole's EmbLoss takes the norm to its power."""
    enable_amp: bool = False
    """Whether to train in mixed precision."""
    enable_scaler: bool = False
    """Whether to scale losses in mixed precision."""
    transform: str | None = None
    """RecBole's transformation of batches, for sequential models."""
    eval_args: Evaluation = Evaluation()
    """How the data are split, grouped, ordered and evaluated."""
    repeatable: bool = False
    """Whether items of the history can be recommended again."""
    metrics: Annotated[Names, Field(min_length=1), AfterValidator(different)] = [
        "Recall", "MRR", "NDCG", "Hit", "Precision"
    ]  # fmt: skip
    """Metrics to measure."""
    topk: Annotated[Counts, AfterValidator(different)] = [10]
    """Lengths of the lists that metrics are measured at."""
    valid_metric: Text = "MRR@10"
    """Metric that chooses the best epoch."""
    valid_metric_bigger: bool = True
    """Whether a bigger value of that metric is better."""
    eval_batch_size: Count = 4096
    """Scores of an evaluation batch."""
    metric_decimal_place: Annotated[CountOrZero, Field(le=15)] = 4
    """Decimal places of metrics."""

    field_separator: Text = "\t"
    """What separates the columns of atomic files."""
    seq_separator: Text = " "
    """What separates the values of a sequence."""
    USER_ID_FIELD: Text = "user_id"
    """Column of user ids."""
    ITEM_ID_FIELD: Text = "item_id"
    """Column of item ids."""
    RATING_FIELD: Text = "rating"
    """Column of ratings."""
    TIME_FIELD: Text = "timestamp"
    """Column of times."""
    seq_len: dict[str, Count] | None = None
    """Greatest length of each sequence column."""
    LABEL_FIELD: Text = "label"
    """Column of labels."""
    threshold: Annotated[dict[str, Real], AfterValidator(one_column)] | None = None
    """Column and value from which on a row is positive."""
    NEG_PREFIX: Text = "neg_"
    """Prefix of the columns of negative items."""
    numerical_features: list[str] = []
    """Columns of numbers to embed."""
    load_col: Columns | None = {"inter": ["user_id", "item_id"]}
    """Columns to load, by file suffix."""
    unload_col: Columns | None = None
    """Columns not to load, by file suffix."""
    unused_col: Columns | None = None
    """Columns to load and leave out of batches, by file suffix."""
    additional_feat_suffix: Names | None = None
    """Further atomic files to load."""
    rm_dup_inter: Literal["first", "last"] | None = None
    """Which of a pair's repeated interactions stays; all if not set."""
    val_interval: dict[str, Intervals] | None = None
    """Intervals of values, by column, that rows must have."""
    filter_inter_by_user_or_item: bool = True
    """Whether interactions of filtered users and items go too."""
    user_inter_num_interval: Intervals | None = "[0,inf)"
    """How many interactions a user must have, such as [5,inf)."""
    item_inter_num_interval: Intervals | None = "[0,inf)"
    """How many interactions an item must have, such as [5,inf)."""
    alias_of_user_id: Names | None = None
    """Columns with ids of users."""
    alias_of_item_id: Names | None = None
    """Columns with ids of items."""
    alias_of_entity_id: Names | None = None
    """Columns with ids of entities."""
    alias_of_relation_id: Names | None = None
    """Columns with ids of relations."""
    preload_weight: dict[str, str] | None = None
    """Columns of vectors, by column of ids."""
    normalize_field: Names | None = None
    """Columns of numbers to scale to [0, 1]."""
    normalize_all: bool | None = None
    """Whether to scale all columns of numbers."""
    discretization: dict[str, Any] | None = None
    """How to turn numbers into classes, by column."""
    ITEM_LIST_LENGTH_FIELD: Text = "item_length"
    """Column of the length of a sequence."""
    LIST_SUFFIX: Text = "_list"
    """Suffix of columns of sequences."""
    MAX_ITEM_LIST_LENGTH: Count = 50
    """Greatest length of a sequence."""
    POSITION_FIELD: Text = "position_id"
    """Column of positions in a sequence."""
    HEAD_ENTITY_ID_FIELD: Text = "head_id"
    """Column of head entities."""
    TAIL_ENTITY_ID_FIELD: Text = "tail_id"
    """Column of tail entities."""
    RELATION_ID_FIELD: Text = "relation_id"
    """Column of relations."""
    ENTITY_ID_FIELD: Text = "entity_id"
    """Column of entities."""
    kg_reverse_r: bool = False
    """Whether relations go in both directions."""
    entity_kg_num_interval: Intervals | None = "[0,inf)"
    """How many triples an entity must have."""
    relation_kg_num_interval: Intervals | None = "[0,inf)"
    """How many triples a relation must have."""
    benchmark_filename: Annotated[list[str], AfterValidator(three_splits)] | None = None
    """Suffixes of interactions that are split already, such as [train, valid, test]."""
    encoding: Annotated[str, AfterValidator(codec)] | None = None
    """Encoding of the atomic files; utf-8 if not set."""
