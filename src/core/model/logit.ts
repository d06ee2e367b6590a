/**
 * The natural logarithm and the logit in IEEE 754 basic operations only, in a fixed order. Pure. `Math.log` may differ
 * in the last bit between engines, but a verdict must not: see docs/spec/trust.md §4.
 */
import { assert } from "../errors.ts";

/** The double nearest to ln 2. */
const LN2 = 0.6931471805599453;
/** Terms of the series; with |s| < 0.172 the next one is below 2^-60 of the sum. */
const TERMS = 12;

/** Scales by powers of two (exact) until √½ ≤ m < √2; then ln m = 2(s + s³/3 + s⁵/5 + …) with s = (m − 1)/(m + 1). */
const naturalLog = (value: number): number => {
  let mantissa = value;
  let exponent = 0;
  for (; mantissa >= Math.SQRT2; exponent += 1) mantissa /= 2;
  for (; mantissa < Math.SQRT1_2; exponent -= 1) mantissa *= 2;
  const s = (mantissa - 1) / (mantissa + 1);
  const square = s * s;
  let sum = 0;
  for (let term = TERMS - 1; term >= 0; term -= 1) sum = sum * square + 1 / (2 * term + 1);
  return exponent * LN2 + 2 * s * sum;
};

/** ln(p / (1 − p)): a score in logits. @param score strictly between 0 and 1. */
export const logit = (score: number): number => {
  assert(score > 0 && score < 1, "logit needs a score strictly between 0 and 1");
  return naturalLog(score / (1 - score));
};
