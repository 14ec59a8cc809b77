package elsa.edge;

/** The device profile has a mistake in it, or asks for what cannot be held. */
public final class ProfileException extends ElsaException {
  private static final long serialVersionUID = 1;

  public ProfileException(String sentence) {
    super(sentence, null);
  }

  public ProfileException(String sentence, Throwable cause) {
    super(sentence, cause);
  }
}
