node_exporter:
  listen: ":9100"
  disabled: [nfs, zfs, infiniband]
