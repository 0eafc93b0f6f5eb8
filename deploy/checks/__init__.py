"""The checks of ``make doctor``. Each yields findings; none changes anything."""
