"""The child of `in_subprocess`: call `package.module:function` with JSON arguments and print its JSON result."""

from __future__ import annotations

import importlib
import json
import sys

if __name__ == "__main__":
    module, _, function = sys.argv[1].partition(":")
    print(json.dumps(getattr(importlib.import_module(module), function)(*json.loads(sys.argv[2]))))
