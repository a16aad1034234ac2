# Which data belongs to whom. Files merge recursively in this order. Secrets go by id or label, never by a grain.
base:
  '*':
    - base
  'label:role=web':
    - web
  'label:role=docker':
    - docker
  'label:nfs=client':
    - nfs_client
  'label:monitored=yes':
    - node_exporter
