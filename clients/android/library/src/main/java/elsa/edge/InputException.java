package elsa.edge;

/** The caller gave something that cannot be: an input of another shape, a level that does not exist. */
public final class InputException extends ElsaException {
  private static final long serialVersionUID = 1;

  public InputException(String sentence) {
    super(sentence, null);
  }

  public InputException(String sentence, Throwable cause) {
    super(sentence, cause);
  }
}
