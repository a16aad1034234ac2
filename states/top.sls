# Which states belong to whom. Targets are expressions: `labctl target 'EXPR' list` shows whom one matches.
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
  'label:role=prometheus':
    - prometheus
  'label:role=dns':
    - dns
