"""Cannot be imported."""

raise ImportError("this library is not installed")
