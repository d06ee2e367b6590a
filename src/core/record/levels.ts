/** The order of the five levels of access. Pure. Records and tokens name levels, never number them. */
import { invalidField } from "../errors.ts";
import { levelNames } from "./names.ts";
import type { LevelName } from "./names.ts";

/** A level by its name, lowest first in `levelNames`. */
export type Level = LevelName;

const RANKS: Readonly<Record<Level, number>> = { guest: 0, observer: 1, operator: 2, mentor: 3, root: 4 };

export const isLevel = (name: unknown): name is Level => levelNames.some((level) => level === name);

/** @throws invalidField naming `field` unless the name is one of `levelNames`, exactly as written there. */
export const parseLevel = (name: unknown, field = "loa"): Level =>
  isLevel(name) ? name : invalidField(field, `must be one of ${levelNames.join(", ")}`);

/** The level as a number in [0, 1]: rank / 4, exact in binary. */
export const levelFraction = (level: Level): number => RANKS[level] / (levelNames.length - 1);

export const isAtLeast = (level: Level, needed: Level): boolean => RANKS[level] >= RANKS[needed];
