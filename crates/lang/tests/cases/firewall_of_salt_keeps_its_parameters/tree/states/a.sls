ssh:
  iptables.append:
    - chain: INPUT
    - jump: ACCEPT
    - hl-eq: 64
    - proto: tcp
    - dport: [22, 2222]
    - save: true
web:
  nftables.append:
    - chain: input
    - jump: accept
    - meter: 10
    - proto: tcp
    - dports:
    - onlyif: 'true'
elsewhere:
  file.absent:
    - name: /x
    - meter: 10
    - recurse: true
