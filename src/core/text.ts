import { CoreError } from './errors.ts'

/**
 * Control and format characters (zero-width, bidi overrides, BOM), lone surrogates, separators, and
 * letters and marks that show nothing (Hangul fillers, variation selectors, the Braille blank).
 */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{DI}\u2800]/u
/** Like INVISIBLE, but prose may break lines and use joiners. */
const UNSTORABLE = /[\u0000\p{Cs}]/u

export interface NameRules {
  /** What to call the thing in the message: "The username …". */
  what: string
  maxLength: number
}

/**
 * A name that people and policies compare: trimmed by the caller, visible, canonical (NFC).
 * Throws `invalid_input` rather than repairing, so that what was asked is what is stored.
 */
export function checkName(value: string, { what, maxLength }: NameRules): string {
  if (value.length === 0) throw new CoreError('invalid_input', `${what} must not be empty.`)
  if (INVISIBLE.test(value)) {
    throw new CoreError(
      'invalid_input',
      `${what} contains a control or invisible character. Remove it.`,
    )
  }
  if (value !== value.trim()) {
    throw new CoreError('invalid_input', `${what} must not begin or end with a space.`)
  }
  const canonical = value.normalize('NFC')
  if (canonical.length > maxLength) {
    throw new CoreError('invalid_input', `${what} must have at most ${maxLength} characters.`)
  }
  return canonical
}

/** Free text such as a description. Throws `invalid_input`. */
export function checkProse(value: string, { what, maxLength }: NameRules): string {
  if (UNSTORABLE.test(value)) {
    throw new CoreError('invalid_input', `${what} contains a character that cannot be stored.`)
  }
  if (value.length > maxLength) {
    throw new CoreError('invalid_input', `${what} must have at most ${maxLength} characters.`)
  }
  return value
}

/** Text to search for: what cannot be stored cannot be found, and would cut the search short. */
export function checkSearch(text: string | undefined): void {
  if (text !== undefined) checkProse(text, { what: 'The text to search for', maxLength: 200 })
}

/** The form in which two names are the same name: compatibility-folded and caseless. */
export function nameKey(name: string): string {
  return name.normalize('NFKC').toLowerCase().normalize('NFKC')
}

const MAX_JSON_BYTES = 16_384
const MAX_JSON_DEPTH = 32

/** Caller-given JSON that we only keep: bounded, and free of what a database refuses. */
export function checkJsonObject(value: Record<string, unknown>, what: string): string {
  if (isDeeper(value, MAX_JSON_DEPTH)) {
    throw new CoreError('invalid_input', `${what} must nest at most ${MAX_JSON_DEPTH} levels deep.`)
  }
  const text = JSON.stringify(value)
  if (Buffer.byteLength(text) > MAX_JSON_BYTES) {
    throw new CoreError('invalid_input', `${what} must have at most ${MAX_JSON_BYTES} bytes.`)
  }
  if (text.includes('\\u0000') || /\\ud[89a-f][0-9a-f]{2}/i.test(text)) {
    throw new CoreError('invalid_input', `${what} contains a character that cannot be stored.`)
  }
  return text
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return levels === 0 || Object.values(value).some((each) => isDeeper(each, levels - 1))
}
