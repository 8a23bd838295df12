import { CoreError } from './errors.ts'

/** Control and format characters (zero-width, bidi overrides, BOM), lone surrogates, separators. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/u
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

/** The form in which two names are the same name: compatibility-folded and caseless. */
export function nameKey(name: string): string {
  return name.normalize('NFKC').toLowerCase().normalize('NFKC')
}

const MAX_JSON_BYTES = 16_384

/** Caller-given JSON that we only keep: bounded, and free of what a database refuses. */
export function checkJsonObject(value: Record<string, unknown>, what: string): string {
  const text = JSON.stringify(value)
  if (Buffer.byteLength(text) > MAX_JSON_BYTES) {
    throw new CoreError('invalid_input', `${what} must have at most ${MAX_JSON_BYTES} bytes.`)
  }
  if (text.includes('\\u0000') || /\\ud[89a-f][0-9a-f]{2}/i.test(text)) {
    throw new CoreError('invalid_input', `${what} contains a character that cannot be stored.`)
  }
  return text
}
