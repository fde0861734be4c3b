"""From scores, a run or several runs to one page that opens from disk."""
