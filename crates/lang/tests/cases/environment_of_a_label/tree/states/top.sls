base:
  '*': [never]
dev:
  '*': [never]
