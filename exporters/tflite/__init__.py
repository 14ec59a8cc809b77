"""What the TFLite exporters share: conversion from ONNX, passes over the flatbuffer, comparison, quantisation."""
