import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import { parseCidr } from '../core/ip.ts'
import { CHOSEN_SECRET, mayBeChosen, Secret } from '../core/secret.ts'
import { checkName } from '../core/text.ts'

// What the text of a setting means. Each throws an Error whose message completes "SETTING …".

/** `no-verify` is for those who know why; `prefer` would fall back to plain text when told to. */
const SSL_MODES = ['disable', 'require', 'verify-ca', 'verify-full', 'no-verify']

export type DatabaseUrl = { kind: 'sqlite'; file: string } | { kind: 'postgres'; url: Secret }

export const asIs = (text: string) => text
export const wholeNumber = (least: number, most: number) => (text: string) => {
  const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (!(number >= least && number <= most)) {
    throw new Error(`must be a whole number from ${least} to ${most}.`)
  }
  return number
}
export const secondsToMs = (least: number, most: number) => (text: string) => {
  const seconds = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Number(text) : Number.NaN
  if (!(seconds >= least && seconds <= most)) {
    throw new Error(`must be seconds from ${least} to ${most}, such as 2 or 2.5.`)
  }
  return Math.round(seconds * 1000)
}
export const workers = (text: string) => {
  if (text === 'auto') return availableParallelism()
  const number = /^\d{1,3}$/.test(text) ? Number(text) : 0
  if (number < 1 || number > 256) throw new Error('must be auto, or a whole number from 1 to 256.')
  return number
}
export const yesOrNo = (text: string) => {
  if (text === 'true' || text === 'false') return text === 'true'
  throw new Error('must be "true" or "false".')
}
export const words = (text: string) =>
  text
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')
export const oneOf =
  <Word extends string>(values: readonly Word[]) =>
  (text: string): Word => {
    const word = values.find((each) => each === text)
    if (word !== undefined) return word
    throw new Error(`must be one of ${values.join(', ')}.`)
  }
export const secretOf = (least: number) => (text: string) => {
  if (text.length >= least) return new Secret(text)
  throw new Error(`needs at least ${least} characters.`)
}
export const addressRanges = (text: string) => {
  const ranges = words(text)
  const wrong = ranges.find((range) => isIP(range) === 0 && parseCidr(range) === undefined)
  if (wrong === undefined) return ranges
  throw new Error(`has "${wrong}", which is neither an address nor a range like 10.0.0.0/8.`)
}
/** A single address as the range that it is. */
export const asRange = (text: string) =>
  text.includes('/') ? text : `${text}/${isIP(text) === 6 ? 128 : 32}`
/** Kept to the letter: providers compare issuers exactly, and some end theirs in a slash. */
export const issuerUrl = (text: string) => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:'
  if (url === undefined || !isHttp || url.search !== '' || url.hash !== '') {
    throw new Error('must be an http or https URL without query or fragment.')
  }
  return text
}
export const username = (text: string) => {
  try {
    return checkName(text, { what: 'The username', maxLength: 150 })
  } catch (error) {
    throw new Error(`cannot be used: ${(error as Error).message}`)
  }
}
export const chosenSecret = (text: string) => {
  if (mayBeChosen(text)) return new Secret(text)
  throw new Error(`must be ${CHOSEN_SECRET}.`)
}
/** Pages and cookies of the OpenID provider are at the root, so a path would lead nowhere. */
export const publicUrl = (text: string) => {
  const url = issuerUrl(text).replace(/\/+$/, '')
  if (new URL(url).pathname === '/') return url
  throw new Error('must not have a path. Give Mintmark a host name or port of its own.')
}
export const databaseUrl = (text: string): DatabaseUrl => {
  const file = /^sqlite:(?:\/\/)?(.+)$/.exec(text)?.[1]
  if (file !== undefined) return { kind: 'sqlite', file }
  // Nothing of the text may be repeated: it holds a password.
  if (!/^postgres(ql)?:\/\//.test(text) || !URL.canParse(text)) {
    throw new Error(
      'must look like sqlite:/var/lib/mintmark/mintmark.db or postgres://user:password@host:5432/name, with special characters of the password percent-encoded.',
    )
  }
  const url = new URL(text)
  const mode = url.searchParams.get('sslmode')
  if (mode !== null && !SSL_MODES.includes(mode)) {
    throw new Error(`must have a sslmode of ${SSL_MODES.join(', ')}.`)
  }
  if (url.pathname.length < 2) {
    throw new Error('must end in the name of the database, as in postgres://host:5432/mintmark.')
  }
  // No half measures: an encrypted connection to whoever answers protects nothing.
  if (mode === 'require' || mode === 'verify-ca') url.searchParams.set('sslmode', 'verify-full')
  return { kind: 'postgres', url: new Secret(url.href) }
}
