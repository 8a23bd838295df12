import { dryRun } from './dry-run.ts'
import { type CallOptions, type ChangeOptions, path, type Send, type Stream } from './http.ts'
import type { BlastRadius, BulkWish, Job } from './job-types.ts'
import { type OnceOptions, once } from './once.ts'
import { everyItem } from './pages.ts'
import type {
  ExplainedVerdict,
  ExplainQuestion,
  IssuedToken,
  NewChild,
  NewSignedToken,
  NewToken,
  Quarantine,
  Question,
  Revocation,
  Rotation,
  SignedToken,
  Token,
  TokenCount,
  TokenEdit,
  TokenFilter,
  TokenQuery,
  TokenStats,
  TokenStatsBy,
  TokenTree,
  UseBy,
  UseFigures,
  UseSeries,
  UseSpan,
  Verdict,
} from './token-types.ts'
import type { Page } from './types.ts'

/** Options of questions about tokens. */
export interface VerifyOptions extends CallOptions {
  /** `strong`: by what the database says now, whatever the node remembers. */
  consistency?: 'strong'
}

/** The inventory of all credentials. */
export function tokens(send: Send, stream: Stream) {
  const list = (query: TokenQuery = {}, options: CallOptions = {}): Promise<Page<Token>> =>
    send({ method: 'GET', path: '/tokens', query, repeatable: true, ...options })

  const file = (query: object, options: CallOptions) =>
    stream({ method: 'GET', path: '/tokens/export', query, ...options })

  return {
    /** Makes a token; its secret is shown this once. */
    create(wish: NewToken, options: OnceOptions = {}): Promise<IssuedToken> {
      return send({ method: 'POST', path: '/tokens', body: wish, ...once(options) })
    },

    /** Mints a narrower token with the one that this client uses, which takes it along when it ends. */
    createChild(wish: NewChild = {}, options: OnceOptions = {}): Promise<IssuedToken> {
      return send({ method: 'POST', path: '/tokens/self/children', body: wish, ...once(options) })
    },

    /** Signs what the token that this client uses may do, for minutes; see `offlineVerifier`. */
    sign(wish: NewSignedToken, options: CallOptions = {}): Promise<SignedToken> {
      return send({
        method: 'POST',
        path: '/tokens/self/jwt',
        body: wish,
        repeatable: true,
        withoutWait: true,
        ...options,
      })
    },

    /** A token, those it comes from, and those that come from it. */
    tree(id: string, options: CallOptions = {}): Promise<TokenTree> {
      return send({ method: 'GET', path: path`/tokens/${id}/tree`, repeatable: true, ...options })
    },

    get(id: string, options: CallOptions = {}): Promise<Token> {
      return send({ method: 'GET', path: path`/tokens/${id}`, repeatable: true, ...options })
    },

    /** One page, newest first unless `q` says else. Admins see all tokens, others their own. */
    list,

    /** All tokens that fit, in the same order, fetched page by page. */
    listAll(query: TokenQuery = {}, options: CallOptions = {}): AsyncGenerator<Token> {
      return everyItem((page: TokenQuery) => list(page, options), query)
    },

    /** How many tokens fit. */
    count(query: TokenFilter = {}, options: CallOptions = {}): Promise<TokenCount> {
      return send({ method: 'GET', path: '/tokens/count', query, repeatable: true, ...options })
    },

    /** How many of the tokens that fit have each value. */
    stats(
      query: TokenFilter & { by: TokenStatsBy },
      options: CallOptions = {},
    ): Promise<TokenStats> {
      return send({ method: 'GET', path: '/tokens/stats', query, repeatable: true, ...options })
    },

    /** All tokens that fit, in one streamed answer. Leaves a record in the audit trail. */
    async *export(query: TokenFilter = {}, options: CallOptions = {}): AsyncGenerator<Token> {
      let line = ''
      for await (const text of file({ ...query, format: 'jsonl' }, options)) {
        const lines = (line + text).split('\n')
        line = lines.pop() ?? ''
        for (const whole of lines) yield JSON.parse(whole) as Token
      }
    },

    /** The same as a file, in pieces as they come: CSV with a header, or a JSON object per line. */
    exportFile(
      query: TokenFilter & { format: 'csv' | 'jsonl' },
      options: CallOptions = {},
    ): AsyncGenerator<string> {
      return file(query, options)
    },

    /** Changes name, description or metadata; rights are fixed. */
    update(id: string, edit: TokenEdit, options: ChangeOptions = {}): Promise<Token> {
      return send({ method: 'PATCH', path: path`/tokens/${id}`, body: edit, ...options })
    },

    /**
     * Replaces a token by a successor with the same rights. The old secret goes on for `overlapSeconds`,
     * by default as the policy says; 0: it dies at once.
     */
    rotate(
      id: string,
      wish: { expiresAt?: string | null; overlapSeconds?: number } = {},
      options: OnceOptions = {},
    ): Promise<IssuedToken> {
      return send({
        method: 'POST',
        path: path`/tokens/${id}/rotate`,
        body: wish,
        ...once(options),
      })
    },

    /** How often a token was used and refused, as of the last ten seconds. */
    use(id: string, span: UseSpan = {}, options: CallOptions = {}): Promise<UseSeries> {
      return send({
        method: 'GET',
        path: path`/tokens/${id}/use`,
        query: span,
        repeatable: true,
        ...options,
      })
    },

    /** The same of all tokens that fit, by what they have in common. */
    useBy(
      query: TokenFilter & UseSpan & { by: UseBy },
      options: CallOptions = {},
    ): Promise<UseFigures> {
      return send({ method: 'GET', path: '/use', query, repeatable: true, ...options })
    },

    /** Who still uses the old secret of a rotated token; `id` is the old one's or its successor's. */
    rotation(id: string, options: CallOptions = {}): Promise<Rotation> {
      return send({
        method: 'GET',
        path: path`/tokens/${id}/rotation`,
        repeatable: true,
        ...options,
      })
    },

    /** Ends an overlap now: the old secret is dead when this returns. */
    finishRotation(id: string, options: ChangeOptions = {}): Promise<Rotation> {
      return send({ method: 'POST', path: path`/tokens/${id}/rotation:finish`, ...options })
    },

    /** Lets an overlap last so many seconds from now. */
    extendRotation(
      id: string,
      wish: { overlapSeconds: number },
      options: ChangeOptions = {},
    ): Promise<Rotation> {
      return send({
        method: 'POST',
        path: path`/tokens/${id}/rotation:extend`,
        body: wish,
        ...options,
      })
    },

    /** Revokes a token, its family and what was derived from it: dead when this returns. */
    revoke(
      id: string,
      wish: { reason?: string } = {},
      options: ChangeOptions = {},
    ): Promise<Revocation> {
      return send({
        method: 'POST',
        path: path`/tokens/${id}/revoke`,
        body: wish,
        repeatable: true,
        ...options,
      })
    },

    /** What revoking a token would hit; changes nothing. */
    revokeDryRun(id: string, options: CallOptions = {}): Promise<BlastRadius> {
      return send(dryRun({ method: 'POST', path: path`/tokens/${id}/revoke`, ...options }))
    },

    /** Begins an action on all tokens that a query selects; `jobs.get` tells how far it is. */
    bulk(wish: BulkWish, options: OnceOptions = {}): Promise<Job> {
      return send({ method: 'POST', path: '/tokens:bulk', body: wish, ...once(options) })
    },

    /** What such an action would hit; changes nothing. */
    bulkDryRun(wish: BulkWish, options: CallOptions = {}): Promise<BlastRadius> {
      return send({
        method: 'POST',
        path: '/tokens:bulk',
        body: { ...wish, dry_run: true },
        repeatable: true,
        withoutWait: true,
        ...options,
      })
    },

    /** Refuses a token and what is derived from it until it is released. */
    quarantine(
      id: string,
      wish: { reason?: string } = {},
      options: ChangeOptions = {},
    ): Promise<Quarantine> {
      return send({
        method: 'POST',
        path: path`/tokens/${id}/quarantine`,
        body: wish,
        repeatable: true,
        ...options,
      })
    },

    /** Releases a token from quarantine, with what was quarantined with it. */
    release(
      id: string,
      wish: { reason?: string } = {},
      options: ChangeOptions = {},
    ): Promise<Quarantine> {
      return send({ method: 'POST', path: path`/tokens/${id}/release`, body: wish, ...options })
    },

    /** The token that this client uses. */
    self(options: CallOptions = {}): Promise<Token> {
      return send({ method: 'GET', path: '/tokens/self', repeatable: true, ...options })
    },

    /** Revokes the token that this client uses. */
    revokeSelf(wish: { reason?: string } = {}, options: ChangeOptions = {}): Promise<Revocation> {
      // Not repeated: once it has worked, the token can no longer ask.
      return send({ method: 'POST', path: '/tokens/self/revoke', body: wish, ...options })
    },

    /** What that would hit; changes nothing. */
    revokeSelfDryRun(options: CallOptions = {}): Promise<BlastRadius> {
      return send(dryRun({ method: 'POST', path: '/tokens/self/revoke', ...options }))
    },

    /** Is this secret good, and for this? Changes nothing. */
    verify(question: Question, { consistency, ...options }: VerifyOptions = {}): Promise<Verdict> {
      return send({
        method: 'POST',
        path: '/tokens/verify',
        query: { consistency },
        body: question,
        repeatable: true,
        withoutWait: true,
        ...options,
      })
    },

    /** The same about up to 100 secrets, each alone or with a demand; verdicts in that order. */
    async verifyBatch(
      questions: readonly (string | Question)[],
      { consistency, ...options }: VerifyOptions = {},
    ): Promise<Verdict[]> {
      const { answers } = await send<{ answers: Verdict[] }>({
        method: 'POST',
        path: '/tokens/verify:batch',
        query: { consistency },
        body: { questions },
        repeatable: true,
        withoutWait: true,
        ...options,
      })
      return answers
    },

    /** Why is a token good or not, check by check, and what could it do? Counts no use. */
    explain(question: ExplainQuestion, options: CallOptions = {}): Promise<ExplainedVerdict> {
      return send({
        method: 'POST',
        path: '/tokens/explain',
        body: question,
        repeatable: true,
        withoutWait: true,
        ...options,
      })
    },
  }
}
