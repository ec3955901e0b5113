from lib.test.parameter.mini import parameters  # noqa: F401
