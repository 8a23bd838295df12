/** The connection ended before the whole answer was here: whether the request was carried out is open. */
export class Cut extends Error {}

export interface RestAnswer {
  status: number
  // Trials look into answers of every shape.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  body: any
  /** Answered from an earlier request with the same Idempotency-Key. */
  replayed: boolean
}

export interface RestOptions {
  body?: unknown
  idempotencyKey?: string
  /** A status that is an answer too, where it is otherwise thrown. */
  accept?: number
}

/** Our own API over a real socket. Throws `Cut`, or an Error for an answer that is neither 2xx nor accepted. */
export interface Rest {
  call(method: string, path: string, options?: RestOptions): Promise<RestAnswer>
  /** All items of a list, page by page. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  all(path: string): Promise<any[]>
  isActive(secret: string): Promise<boolean>
}

/** Speaks to the server at `url` with one token. */
export function rest(url: string, token: string): Rest {
  const api: Rest = {
    async call(method, path, { body, idempotencyKey, accept } = {}) {
      const { response, text } = await whole(`${url}/api/v1${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      if (!response.ok && response.status !== accept) {
        throw new Error(`${method} ${path} answered ${response.status}: ${text}`)
      }
      return {
        status: response.status,
        body: text === '' ? undefined : JSON.parse(text),
        replayed: response.headers.get('idempotency-replayed') === 'true',
      }
    },
    async all(path) {
      const items: unknown[] = []
      let cursor: string | null = ''
      while (cursor !== null) {
        const { body } = await api.call('GET', `${path}?limit=1000${cursor && `&cursor=${cursor}`}`)
        items.push(...body.items)
        cursor = body.nextCursor
      }
      return items
    },
    async isActive(secret) {
      const { body } = await api.call('POST', '/tokens/verify', { body: { token: secret } })
      return body.active
    },
  }
  return api
}

async function whole(
  url: string,
  init: RequestInit,
): Promise<{ response: Response; text: string }> {
  try {
    const response = await fetch(url, init)
    return { response, text: await response.text() }
  } catch (error) {
    throw new Cut('The connection was cut.', { cause: error })
  }
}
