
{%- set roles = salt['grains.get']('roles', []) %}
base:
  '*':
    - common
    - users
    - ntp
  'os_family:Debian':
    - match: grain
    - nginx
    - openssh
  'G@os:Debian and vm-*':
    - match: compound
    - docker
  {%- for role in roles %}
  'roles:{{ role }}':
    - match: grain
    - role.{{ role }}
  {%- endfor %}
