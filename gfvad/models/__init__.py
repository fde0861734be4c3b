"""Published models, exactly as their authors' programs compute them, one file each."""
