import { type CallOptions, type ChangeOptions, path, type Send } from './http.ts'
import type { ImportBatch, ImportRowVerdict } from './import-types.ts'

/** Tokens of other systems. */
export function imports(send: Send) {
  return {
    /** Takes over up to 200 tokens. Sending the same again changes nothing. */
    async add(batch: ImportBatch, options: ChangeOptions = {}): Promise<ImportRowVerdict[]> {
      const { rows } = await send<{ rows: ImportRowVerdict[] }>({
        method: 'POST',
        path: '/imports',
        body: batch,
        repeatable: true,
        ...options,
      })
      return rows
    },

    /** How many tokens an import has made. */
    get(
      importId: string,
      options: CallOptions = {},
    ): Promise<{ importId: string; tokens: number }> {
      return send({ method: 'GET', path: path`/imports/${importId}`, repeatable: true, ...options })
    },
  }
}
