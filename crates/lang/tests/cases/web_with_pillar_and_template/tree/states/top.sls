base:
  'vm-*':
    - base
  label:role=web:
    - web
  os=alpine:
    - never
