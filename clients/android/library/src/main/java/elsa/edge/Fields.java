package elsa.edge;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** One JSON object whose keys are read and checked; {@link #end} refuses those that nobody asked for. */
final class Fields {
  /** Makes the error that says whose mistake it is. */
  interface Wrong {
    ElsaException say(String sentence);
  }

  private static final double LARGEST_WHOLE = 9007199254740991.0;

  private final String where;
  private final Map<?, ?> values;
  private final Wrong wrong;
  private final Set<Object> left;

  Fields(String where, Object value, Wrong wrong) {
    if (!(value instanceof Map)) throw wrong.say(where + " must be an object.");
    this.where = where;
    this.values = (Map<?, ?>) value;
    this.wrong = wrong;
    left = new LinkedHashSet<>(values.keySet());
  }

  ElsaException wrong(String key, String what) {
    return wrong.say(where + ": " + key + " " + what);
  }

  Object get(String key) {
    left.remove(key);
    return values.get(key);
  }

  boolean has(String key) {
    return get(key) != null;
  }

  /** Marks keys as known that mean nothing to this library. */
  void pass(String... keys) {
    for (String key : keys) left.remove(key);
  }

  /** Refuses what is not known: it may mean something that would be ignored. */
  void end() {
    if (left.isEmpty()) return;
    String key = String.valueOf(left.iterator().next());
    throw wrong.say(where + " has the key " + key.substring(0, Math.min(60, key.length()))
        + ", which this library does not know. Update it, or build the bundle again.");
  }

  Fields object(String key) {
    return new Fields(where + "." + key, get(key), wrong);
  }

  List<?> list(String key) {
    Object value = get(key);
    if (!(value instanceof List)) throw wrong(key, "must be a list.");
    return (List<?>) value;
  }

  List<Fields> objects(String key) {
    List<Fields> found = new ArrayList<>();
    for (Object item : list(key)) found.add(new Fields(where + "." + key, item, wrong));
    return found;
  }

  String text(String key) {
    return text(key, get(key));
  }

  String text(String key, Object value) {
    if (!(value instanceof String) || ((String) value).isEmpty()) throw wrong(key, "must be a text.");
    return (String) value;
  }

  String textOr(String key, String otherwise) {
    return has(key) ? text(key) : otherwise;
  }

  /** Null where there is none. */
  Double maybe(String key, double low, double high) {
    Object value = get(key);
    if (value == null) return null;
    return number(key, value, low, high);
  }

  double number(String key, double low, double high) {
    return number(key, get(key), low, high);
  }

  double numberOr(String key, double low, double high, double otherwise) {
    Double found = maybe(key, low, high);
    return found == null ? otherwise : found;
  }

  private double number(String key, Object value, double low, double high) {
    if (!(value instanceof Double) || !((Double) value >= low && (Double) value <= high)) {
      throw wrong(key, "must be a number from " + low + " to " + high + ".");
    }
    return (Double) value;
  }

  long count(String key) {
    return count(key, get(key));
  }

  long count(String key, Object value) {
    double found = number(key, value, 0, LARGEST_WHOLE);
    if (found != Math.floor(found)) throw wrong(key, "must be a whole number.");
    return (long) found;
  }

  int intOr(String key, int low, int high, int otherwise) {
    double found = numberOr(key, low, high, otherwise);
    if (found != Math.floor(found)) throw wrong(key, "must be a whole number.");
    return (int) found;
  }
}
