import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { LoadJob, LoadResult } from './load-job.ts'

/** A process that offers load; see open-loop.ts. */
export interface Generator {
  /** One job at a time. */
  run(job: LoadJob): Promise<LoadResult>
  end(): void
}

export function startGenerator(): Generator {
  const child = fork(fileURLToPath(new URL('open-loop.ts', import.meta.url)))
  return {
    run: (job) =>
      new Promise((resolve, reject) => {
        const ended = () => reject(new Error('The load generator ended.'))
        child.once('exit', ended)
        child.once('message', (result) => {
          child.off('exit', ended)
          resolve(result as LoadResult)
        })
        child.send(job)
      }),
    end: () => child.kill(),
  }
}

/** A request as it goes over the wire. `token` undefined: without a credential. */
export function requestText({
  method,
  path,
  token,
  body,
}: {
  method: 'GET' | 'POST'
  path: string
  token?: string
  body?: object
}): string {
  const json = body === undefined ? '' : JSON.stringify(body)
  const head = [
    `${method} ${path} HTTP/1.1`,
    'host: localhost',
    ...(token === undefined ? [] : [`authorization: Bearer ${token}`]),
    ...(body === undefined
      ? []
      : ['content-type: application/json', `content-length: ${Buffer.byteLength(json)}`]),
  ]
  return `${head.join('\r\n')}\r\n\r\n${json}`
}
