/**
 * Control and format characters (bidi overrides, zero-width ones), lone surrogates, separators, letters
 * and marks that show nothing, and marks piled so high that they would cover the lines above.
 */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{DI}\u2800]|(?<=\p{M}{4})\p{M}/gu

/** Text from elsewhere, made harmless to read: what would hide, reorder or overlay is spelled out. */
export function visible(text: string): string {
  return text.replaceAll(
    INVISIBLE,
    (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ''}}`,
  )
}

/** Cuts `text` to so many characters and says so with an ellipsis. */
export function shortened(text: string, length: number): string {
  // A character has two units at most, so that a long text is never taken apart as a whole.
  const characters = [...text.slice(0, 2 * length + 2)]
  if (characters.length <= length) return text
  return `${characters.slice(0, length - 1).join('')}…`
}
