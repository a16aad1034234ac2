base:
  '*':
    - web
  label:role=web:
    - secret
