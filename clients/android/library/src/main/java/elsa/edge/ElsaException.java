package elsa.edge;

/** Something is wrong; the message is a sentence for people, with what to do. The subclasses say whose matter it is. */
public abstract class ElsaException extends RuntimeException {
  private static final long serialVersionUID = 1;

  ElsaException(String sentence, Throwable cause) {
    super(sentence, cause);
  }
}
