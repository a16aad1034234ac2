# Which states belong to whom. `labctl target 'EXPR' list` shows whom an expression matches,
# `labctl target 'EXPR' apply` without a name applies what is assigned here.
base:
  '*':
    - hello
  # 'vm-*':
  #   - web
