/** What a terminal shows as nothing, as a blank, or not at all. */
export const invisible: readonly string[] = [
  ..."\u{3164}\u{2800}\u{34f}\u{115f}\u{180b}\u{fe0f}\u{a0}\u{3000}\u{200b}\u{200d}\u{202e}\u{ad}\u{2028}\u{7f}\u{85}",
  "\u{e0100}",
  "\u{e0001}",
];

export const hexOf = (character: string): string =>
  (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
