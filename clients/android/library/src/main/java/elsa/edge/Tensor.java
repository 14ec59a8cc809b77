package elsa.edge;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Numbers with a shape. The bytes are in the order of this machine; {@code dtype} is numpy's name of their type. */
public final class Tensor {
  public final String dtype;
  private final long[] dims;
  private final ByteBuffer bytes;

  private Tensor(String dtype, ByteBuffer bytes, long[] dims) {
    this.dtype = dtype;
    this.bytes = bytes;
    this.dims = dims;
    if (bytes.capacity() != count(dims) * size(dtype)) {
      throw new InputException("A tensor of the shape " + text(dims) + " and type " + dtype + " needs "
          + count(dims) * size(dtype) + " bytes, found " + bytes.capacity() + ".");
    }
  }

  /** A tensor over a buffer of yours, which is not copied: do not change it while a run goes on. */
  public static Tensor wrap(String dtype, ByteBuffer bytes, long... dims) {
    return new Tensor(dtype, bytes, dims.clone());
  }

  public static Tensor of(float[] values, long... dims) {
    ByteBuffer bytes = room(4L * values.length);
    bytes.asFloatBuffer().put(values);
    return new Tensor("float32", bytes, dims.clone());
  }

  public static Tensor of(double[] values, long... dims) {
    ByteBuffer bytes = room(8L * values.length);
    bytes.asDoubleBuffer().put(values);
    return new Tensor("float64", bytes, dims.clone());
  }

  public static Tensor of(long[] values, long... dims) {
    ByteBuffer bytes = room(8L * values.length);
    bytes.asLongBuffer().put(values);
    return new Tensor("int64", bytes, dims.clone());
  }

  public static Tensor of(int[] values, long... dims) {
    ByteBuffer bytes = room(4L * values.length);
    bytes.asIntBuffer().put(values);
    return new Tensor("int32", bytes, dims.clone());
  }

  /** Room for so many bytes, outside the heap, as runtimes want it. */
  static ByteBuffer room(long count) {
    if (count > Integer.MAX_VALUE) throw new InputException("A tensor of " + count + " bytes is too large.");
    return ByteBuffer.allocateDirect((int) count).order(ByteOrder.nativeOrder());
  }

  public long[] dims() {
    return dims.clone();
  }

  /** Its bytes, from the first to the last. */
  public ByteBuffer bytes() {
    ByteBuffer view = bytes.duplicate().order(ByteOrder.nativeOrder());
    view.clear();
    return view;
  }

  public float[] floats() {
    require("float32");
    float[] values = new float[bytes.capacity() / 4];
    bytes().asFloatBuffer().get(values);
    return values;
  }

  public long[] longs() {
    require("int64");
    long[] values = new long[bytes.capacity() / 8];
    bytes().asLongBuffer().get(values);
    return values;
  }

  /** All values as doubles, whatever their type. */
  public double[] numbers() {
    double[] values = new double[(int) count(dims)];
    ByteBuffer from = bytes();
    for (int i = 0; i < values.length; i++) values[i] = number(from, i);
    return values;
  }

  private double number(ByteBuffer from, int i) {
    switch (dtype) {
      case "float32":
        return from.getFloat(4 * i);
      case "float64":
        return from.getDouble(8 * i);
      case "float16":
        return half(from.getShort(2 * i));
      case "int64":
        return from.getLong(8 * i);
      case "int32":
        return from.getInt(4 * i);
      case "int8":
        return from.get(i);
      default:
        return from.get(i) & 255;
    }
  }

  private static double half(short bits) {
    int exponent = bits >> 10 & 31;
    int fraction = bits & 1023;
    double size = exponent == 0 ? Math.scalb((double) fraction, -24) : Math.scalb(1024.0 + fraction, exponent - 25);
    if (exponent == 31) size = fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN;
    return bits < 0 ? -size : size;
  }

  private void require(String wanted) {
    if (!dtype.equals(wanted)) throw new InputException("The tensor is of type " + dtype + ", not " + wanted + ".");
  }

  static long count(long[] dims) {
    long count = 1;
    for (long size : dims) {
      if (size < 0) throw new InputException("A shape has a negative size: " + text(dims) + ".");
      count = Math.multiplyExact(count, size);
    }
    return count;
  }

  static int size(String dtype) {
    switch (dtype) {
      case "float64":
      case "int64":
        return 8;
      case "float32":
      case "int32":
        return 4;
      case "float16":
        return 2;
      case "int8":
      case "uint8":
      case "bool":
        return 1;
      default:
        throw new InputException("Tensors of type " + dtype + " are not known to this library.");
    }
  }

  static String text(long[] dims) {
    return Arrays.toString(dims).replaceAll("[\\[\\] ]", "").replace(',', 'x');
  }
}
