"""The TFLite variants: numbers, file sizes, sparse kernels on the SSE stand-in, int8, switching, memory, export."""
