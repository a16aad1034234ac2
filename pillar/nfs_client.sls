nfs_client:
  # The key is the mount unit's name: the path with `-` for `/`.
  mounts:
    srv-media:
      source: nas.lab:/volume1/media
      path: /srv/media
