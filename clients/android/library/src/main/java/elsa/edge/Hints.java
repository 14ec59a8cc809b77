package elsa.edge;

/** Told after every run how long it took, so that a device can choose its clock. */
public interface Hints extends AutoCloseable {
  void ran(long tookNs);

  @Override
  void close();

  Hints NONE = new Hints() {
    @Override
    public void ran(long tookNs) {}

    @Override
    public void close() {}
  };
}
