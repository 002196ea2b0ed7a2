/** What the package, the server or the user gave cannot be used; its message is shown as it is. */
export class Problem extends Error {}

/** A whole number in what a JSON file holds, null where it names none. */
export function numberOf(found, name, least, most = 2 ** 31 - 1) {
  const value = found[name] ?? null;
  if (value === null) return null;
  if (!Number.isInteger(value) || value < least || value > most)
    throw new Problem(`${name} is ${shortly(value)}, expected a whole number from ${least} to ${most}`);
  return value;
}

/** Whether a value of a JSON file is an object. */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value as it stands in a message: a package may hold anything, of any length. */
export function shortly(value, most = 60) {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
  return text.length > most ? `${text.slice(0, most)}…` : text;
}
