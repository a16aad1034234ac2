x: { y: !secret topsecret }
