"""Images outside the store: OCI layouts and docker-archives, as directories and tar files; and bare trees."""
