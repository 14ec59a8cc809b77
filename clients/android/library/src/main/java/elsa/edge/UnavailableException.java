package elsa.edge;

/** A runtime, our kernels or a function of this device is missing, or the runtime refused. */
public final class UnavailableException extends ElsaException {
  private static final long serialVersionUID = 1;

  public UnavailableException(String sentence) {
    super(sentence, null);
  }

  public UnavailableException(String sentence, Throwable cause) {
    super(sentence, cause);
  }
}
