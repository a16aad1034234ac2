db:
  password: !secret hunter22
