/** Control and format characters (escape sequences, bidi overrides), lone surrogates, separators. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu

/** East Asian wide and emoji: two columns each. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' })

/** Text from elsewhere, made harmless: what a terminal would act on is spelled out. */
export function visible(text: string): string {
  return text.replaceAll(
    INVISIBLE,
    (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ''}}`,
  )
}

/** How many columns a terminal needs for `text`. */
export function widthOf(text: string): number {
  let width = 0
  for (const { segment } of graphemes.segment(text)) width += WIDE.test(segment) ? 2 : 1
  return width
}

/** Cuts `text` to so many columns and says so with an ellipsis. */
export function shortened(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text
  let short = ''
  for (const { segment } of graphemes.segment(text)) {
    if (widthOf(short + segment) > columns - 1) break
    short += segment
  }
  return `${short}…`
}

/** One JSON document whose strings cannot steer a terminal either. */
export function jsonText(document: unknown): string {
  return harmless(JSON.stringify(document, undefined, 2))
}

/** The same on one line. */
export function jsonLine(document: unknown): string {
  return harmless(JSON.stringify(document))
}

/** JSON.stringify escapes the C0 controls only; between the strings there are none of these. */
function harmless(json: string): string {
  return json.replaceAll(/[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    character
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  )
}
