base:
  '*':
    - common
    - users
    - nginx
  'G@os_family:Debian':
    - match: compound
    - debian
