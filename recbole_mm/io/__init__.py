"""Files and names, as every floor above needs them: atomic writes, pictures, closest names. Imports nothing of ours."""
