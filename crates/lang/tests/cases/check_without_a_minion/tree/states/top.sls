base:
  '*': [ a, nix ]
  'x y': [ a ]
