package elsa.edge;

/** The bundle is damaged, was changed, or is of a kind that this library does not know. */
public final class BundleException extends ElsaException {
  private static final long serialVersionUID = 1;

  public BundleException(String sentence) {
    super(sentence, null);
  }

  public BundleException(String sentence, Throwable cause) {
    super(sentence, cause);
  }
}
