import { MintmarkError } from './error.ts'

export interface ClientOptions {
  /** Where the server is, such as `https://tokens.example.org`. */
  url: string
  /** Secret of the token that the calls are made with; absent: only `login` works. */
  token?: string | undefined
  /** Default: the platform's. */
  fetch?: typeof globalThis.fetch
  /** Longest that a call takes, its retries included. Default: 30 seconds. */
  timeoutMs?: number
  /** For all changes that do not say themselves. */
  changes?: Pick<ChangeOptions, 'wait' | 'onAcknowledged'>
}

/** Options of every call. */
export interface CallOptions {
  signal?: AbortSignal
}

/** How many of the nodes that may answer have applied a change. */
export interface Acknowledgement {
  acknowledged: number
  /** With fewer acknowledged, the others follow or stop answering by themselves. */
  nodes: number
}

/** Options of calls that change something. */
export interface ChangeOptions extends CallOptions {
  /** `all`, the default: return when all nodes have applied it, or waiting has lasted too long; `none`: at once. */
  wait?: 'all' | 'none' | undefined
  /** Called, before the call returns, when it took something away that nodes remember. */
  onAcknowledged?: ((acknowledgement: Acknowledgement) => void) | undefined
}

export interface Call extends ChangeOptions {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Below `/api/v1`, made by `path`. */
  path: string
  query?: object
  body?: unknown
  headers?: Record<string, string>
  /** Doing it twice is the same as doing it once, so that a lost answer may be asked for again. */
  repeatable?: boolean
  /** No GET, and yet there is nothing that nodes would have to apply. */
  withoutWait?: boolean
}

/** Makes a call and returns the answer's JSON, whose shape the server has checked. */
export type Send = <T>(call: Call) => Promise<T>

interface Answered<T> {
  answer: T
  acknowledged: Acknowledgement | undefined
}

const TRIES = 4
const FIRST_PAUSE_MS = 200
const DEFAULT_TIMEOUT_MS = 30_000
/** Busy, or restarting behind a proxy. */
const PASSING = [429, 502, 503, 504]

/** Speaks HTTP for all resources: address, credential, time limit, retries, errors. */
export function sender(options: ClientOptions): Send {
  const base = baseOf(options.url)
  const authorization = authorizationOf(options.token)
  // Called without an object before it: browsers refuse `options.fetch(…)`.
  const doFetch = options.fetch ?? globalThis.fetch
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS

  async function once<T>(call: Call, signal: AbortSignal): Promise<Answered<T>> {
    const hasBody = call.body !== undefined
    const wait = call.wait ?? (isChange(call) ? options.changes?.wait : undefined)
    const response = await doFetch(`${base}${call.path}${queryOf({ ...call.query, wait })}`, {
      method: call.method,
      headers: {
        accept: 'application/json',
        ...authorization,
        ...(hasBody ? { 'content-type': 'application/json' } : {}),
        ...call.headers,
      },
      ...(hasBody ? { body: JSON.stringify(call.body) } : {}),
      signal,
      // Secrets go where they were sent and nowhere else.
      redirect: 'error',
      credentials: 'omit',
    })
    return { answer: await answerOf<T>(response), acknowledged: acknowledgementIn(response) }
  }

  async function persistently<T>(call: Call): Promise<Answered<T>> {
    const endsAtMs = performance.now() + timeoutMs
    const deadline = AbortSignal.timeout(timeoutMs)
    const signal = call.signal === undefined ? deadline : AbortSignal.any([deadline, call.signal])
    for (let tries = 1; ; tries++) {
      try {
        return await once<T>(call, signal)
      } catch (cause) {
        const error = errorOf(cause, { call, deadline, timeoutMs, base })
        const pauseMs = pauseAfter(error, tries)
        const inTime = performance.now() + pauseMs < endsAtMs
        if (call.repeatable !== true || tries === TRIES || !inTime) throw error
        await pause(pauseMs, signal)
        if (signal.aborted) throw errorOf(signal.reason, { call, deadline, timeoutMs, base })
      }
    }
  }

  return async <T>(call: Call): Promise<T> => {
    const { answer, acknowledged } = await persistently<T>(call)
    const tell = call.onAcknowledged ?? options.changes?.onAcknowledged
    if (acknowledged !== undefined) tell?.(acknowledged)
    return answer
  }
}

/** Makes a call whose answer is a file, and gives its text piece by piece. */
export type Stream = (call: Call) => AsyncGenerator<string, void, undefined>

/**
 * The same for answers of any length: the time limit counts until they begin. Throws when they are cut
 * off, so that a part is never taken for the whole.
 */
export function streamer(options: ClientOptions): Stream {
  const base = baseOf(options.url)
  const authorization = authorizationOf(options.token)
  const doFetch = options.fetch ?? globalThis.fetch
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS

  return async function* stream(call) {
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), timeoutMs)
    const signal =
      call.signal === undefined ? late.signal : AbortSignal.any([late.signal, call.signal])
    try {
      const response = await doFetch(`${base}${call.path}${queryOf(call.query)}`, {
        method: call.method,
        headers: {
          ...authorization,
          ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
          ...call.headers,
        },
        ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
        signal,
        redirect: 'error',
        credentials: 'omit',
      })
      clearTimeout(timer)
      if (!response.ok || response.body === null) {
        await answerOf<unknown>(response)
        return
      }
      yield* textOf(response.body)
    } catch (cause) {
      throw errorOf(cause, { call, deadline: late.signal, timeoutMs, base })
    } finally {
      clearTimeout(timer)
    }
  }
}

async function* textOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      const text = decoder.decode(value, { stream: !done })
      if (text !== '') yield text
      if (done) return
    }
  } finally {
    // Whoever stops reading half-way lets the server stop, too.
    await reader.cancel().catch(() => {})
  }
}

/** Fills ids into a path. An id is one segment: it cannot lead to another resource. */
export function path(parts: TemplateStringsArray, ...ids: string[]): string {
  return parts.reduce((text, part, i) => `${text}${segment(ids[i - 1] ?? '')}${part}`)
}

function segment(id: string): string {
  if (id === '' || id === '.' || id === '..') {
    throw invalid(`"${id}" cannot be an id or a name here.`)
  }
  return encodeURIComponent(id)
}

function invalid(detail: string): MintmarkError {
  return new MintmarkError({ status: 0, code: 'invalid_input', detail })
}

function baseOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  const isHttp = parsed?.protocol === 'http:' || parsed?.protocol === 'https:'
  if (parsed === undefined || !isHttp || parsed.username !== '' || parsed.search !== '') {
    throw invalid('The url must be the http or https address of a Mintmark server.')
  }
  return `${parsed.origin}${parsed.pathname.replace(/\/+$/, '')}/api/v1`
}

function authorizationOf(token: string | undefined): Record<string, string> {
  if (token === undefined) return {}
  // Platforms quote a header that they refuse in the error, and with it the secret.
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw invalid('The token has characters that no token has. Is there a line break in it?')
  }
  return { authorization: `Bearer ${token}` }
}

function queryOf(query: object | undefined): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) search.set(name, String(value))
  }
  return search.size === 0 ? '' : `?${search}`
}

function isChange({ method, withoutWait }: Call): boolean {
  return method !== 'GET' && withoutWait !== true
}

function acknowledgementIn({ headers }: Response): Acknowledgement | undefined {
  const found = /^(\d+)\/(\d+)$/.exec(headers.get('mintmark-acknowledged') ?? '')
  return found === null ? undefined : { acknowledged: Number(found[1]), nodes: Number(found[2]) }
}

async function answerOf<T>(response: Response): Promise<T> {
  const text = await response.text()
  const json = text === '' ? undefined : parsed(text)
  if (response.ok && (json !== undefined || response.status === 204)) return json as T
  throw new MintmarkError({ ...problemOf(response, json), status: response.status })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What the problem document says; proxies and other servers answer in shapes of their own. */
function problemOf({ status, headers }: Response, json: unknown) {
  const problem = (json ?? {}) as Record<string, unknown>
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined)
  const retryAfterSeconds = secondsOf(headers.get('retry-after'))
  return {
    code: text(problem.code) ?? 'unexpected_answer',
    detail:
      text(problem.detail) ??
      `The answer (status ${status}) is not from a Mintmark server. Check the url.`,
    requestId: text(problem.requestId) ?? headers.get('x-request-id') ?? undefined,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    ...(typeof problem.column === 'number' ? { column: problem.column } : {}),
  }
}

/** Seconds, or a date, as proxies write it (RFC 9110, section 10.2.3). */
function secondsOf(retryAfter: string | null): number | undefined {
  if (retryAfter === null) return undefined
  if (/^\d+$/.test(retryAfter)) return Number(retryAfter)
  const atMs = Date.parse(retryAfter)
  return Number.isNaN(atMs) ? undefined : Math.max(0, (atMs - Date.now()) / 1000)
}

function errorOf(
  cause: unknown,
  context: { call: Call; deadline: AbortSignal; timeoutMs: number; base: string },
): MintmarkError {
  if (cause instanceof MintmarkError) return cause
  const { call, deadline, timeoutMs, base } = context
  const failed = (code: string, detail: string) =>
    new MintmarkError({ status: 0, code, detail, cause })
  if (call.signal?.aborted) return failed('aborted', 'The call was aborted.')
  if (deadline.aborted) return failed('timeout', `No answer within ${timeoutMs} ms.`)
  return failed('network_failed', `${new URL(base).origin} cannot be reached.`)
}

/** Milliseconds until the next try; Infinity: another try cannot help. */
function pauseAfter(error: MintmarkError, tries: number): number {
  const mayPass = error.code === 'network_failed' || PASSING.includes(error.status)
  if (!mayPass) return Number.POSITIVE_INFINITY
  const least = (error.retryAfterSeconds ?? 0) * 1000
  // Jitter, so that many clients that failed together do not come back together.
  return least + Math.random() * FIRST_PAUSE_MS * 2 ** (tries - 1)
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}
