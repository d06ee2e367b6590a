/** Typed access to the fields of one relay's table. Errors name the relay's index and the field. */
import { nearest } from "./nearest.ts";

/** An invalid value; the caller adds the key. */
export class BadRelay extends Error {}

export type Table = Readonly<Record<string, unknown>>;

const listMax = 100;

/** Typed access to a relay's fields; `end` refuses those never accessed. */
export class Fields {
  readonly #table: Table;
  readonly #path: string;
  readonly #known = new Set<string>();

  constructor(table: Table, path: string) {
    this.#table = table;
    this.#path = path;
  }

  refuse(field: string, rule: string): never {
    throw new BadRelay(`${this.#path}.${field} ${rule}`);
  }

  raw(field: string): unknown {
    this.#known.add(field);
    return Object.hasOwn(this.#table, field) ? this.#table[field] : undefined;
  }

  text(field: string, initial?: string): string {
    const value = this.raw(field) ?? initial;
    return typeof value === "string" && value !== ""
      ? value
      : this.refuse(field, "must be text, and not empty");
  }

  /** "" if absent. */
  path(field: string): string {
    return this.raw(field) === undefined ? "" : this.text(field);
  }

  shaped(field: string, shape: RegExp, rule: string, initial?: string): string {
    const value = this.text(field, initial);
    return shape.test(value) ? value : this.refuse(field, rule);
  }

  oneOf<Choice extends string>(field: string, choices: readonly Choice[], initial?: Choice): Choice {
    const value = this.raw(field) ?? initial;
    return choices.find((one) => one === value) ?? this.refuse(field, `must be one of ${choices.join(", ")}`);
  }

  integer(field: string, [min, max]: readonly [number, number], initial: number): number {
    const value = this.raw(field) ?? initial;
    const fits = typeof value === "number" && Number.isInteger(value) && value >= min && value <= max;
    return fits ? value : this.refuse(field, `must be a whole number from ${min} to ${max}`);
  }

  switch(field: string): boolean {
    const value = this.raw(field) ?? false;
    return typeof value === "boolean" ? value : this.refuse(field, "must be true or false");
  }

  list(field: string, faultOf: (one: string) => string | null): readonly string[] | undefined {
    const value = this.raw(field);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || value.length === 0 || value.length > listMax) {
      return this.refuse(field, `must be a list of 1 to ${listMax} texts; leave it out for all`);
    }
    return value.map((one: unknown, index) => {
      const fault = typeof one === "string" ? faultOf(one) : "must be text";
      return fault === null ? String(one) : this.refuse(`${field}[${index}]`, fault);
    });
  }

  /** @throws BadRelay for an unknown field. */
  end(): void {
    for (const field of Object.keys(this.#table)) {
      if (!this.#known.has(field)) {
        this.refuse(field, `is not known; did you mean ${nearest(field, [...this.#known])}?`);
      }
    }
  }
}
