"""The format of the nested sparse kernels: shared by the exporter that writes it, the kernels' Python and the tests."""
