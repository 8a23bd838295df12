/** The tables as Kysely sees them. Instants are epoch milliseconds, flags 0 or 1, lists JSON text. */
export interface Schema {
  counter: { name: string; value: number }
  user: UserTable
  user_identity: { issuer: string; subject: string; user_id: string; created_at_ms: number }
  role: {
    name: string
    description: string
    scopes: string
    created_at_ms: number
    updated_at_ms: number
  }
  user_role: { user_id: string; role: string }
  group: GroupTable
  membership: { user_id: string; group_id: string; mode: string; created_at_ms: number }
  token: TokenTable
  use_count: UseCountTable
  rotation_caller: RotationCallerTable
  client: ClientTable
  grant: GrantTable
  oauth_record: OauthRecordTable
  token_label: {
    type: 'role' | 'scope' | 'group'
    value: string
    token_id: string
    /** Of the token, so that the index has them in its order. */
    created_at_ms: number
  }
  audit: AuditTable
  audit_checkpoint: { sequence: number; hash: string; at_ms: number; signature: string }
  event: EventTable
  leak: { token_id: string; place: string; told_at_ms: number; settled_at_ms: number | null }
  mark: { name: string; at: number; id: string }
  webhook: WebhookTable
  delivery: DeliveryTable
  delivery_attempt: {
    delivery_id: string
    number: number
    at_ms: number
    duration_ms: number
    status: number | null
    error: string | null
  }
  change: { sequence?: number; subject: string; subject_id: string; at_ms: number }
  import_row: { import_id: string; row_key: string; token_id: string; fingerprint: string }
  import_made: { import_id: string; subject_id: string }
  import_shape: { kind: string; length: number }
  imported_hash: { token_id: string; hint: string; sealed: string }
  node: {
    id: string
    address: string | null
    version: string
    lease_ms: number
    /** By the clock of the database, like all instants here. */
    started_at_ms: number
    seen_at_ms: number
    /** How often it has told of itself: one that rests is silent, whatever any clock says. */
    beats: number
    /** Up to which change it has applied everything. */
    position: number
    draining: number
    gone_at_ms: number | null
  }
  policy: { name: string; value: string; updated_at_ms: number }
  rate_use: { key: string; used_until_ms: number }
  key: {
    id: string
    purpose: string
    sealed: string
    created_at_ms: number
    retired_at_ms: number | null
  }
  idempotency: {
    scope: string
    key_digest: string
    request_digest: string
    sealed: string
    expires_at_ms: number
  }
  bulk_job: BulkJobTable
  bulk_job_token: { job_id: string; position: number; token_id: string }
  lockout: { account: string; failures: number; locked_until_ms: number | null; at_ms: number }
}

export interface UserTable {
  id: string
  serial: number
  username: string
  username_key: string
  display_name: string
  email: string | null
  email_key: string | null
  kind: string
  global_role: string
  active: number
  attributes: string
  password_hash: string | null
  password_is_one_time: number
  password_expires_at_ms: number | null
  password_changed_at_ms: number | null
  last_login_at_ms: number | null
  created_at_ms: number
  updated_at_ms: number
  deleted_at_ms: number | null
}

export interface GroupTable {
  id: string
  serial: number
  name: string
  name_key: string
  description: string
  parent_id: string | null
  created_at_ms: number
  updated_at_ms: number
  deleted_at_ms: number | null
}

/**
 * Besides these the table computes `used_order`, `expires_order`, `name_order` and `standing`, which sort and
 * search (migration 0004) and are never written.
 */
export interface TokenTable {
  id: string
  serial: number | null
  kind: string
  owner_id: string
  creator_id: string
  creator_token_id: string | null
  name: string | null
  name_key: string | null
  description: string
  via: string
  format: string
  digest: string
  pepper_id: string
  preview: string
  access_level: string
  roles: string | null
  groups: string | null
  scopes: string | null
  allowed_ips: string | null
  metadata: string
  family_id: string
  parent_id: string | null
  created_at_ms: number
  updated_at_ms: number
  expires_at_ms: number | null
  idle_seconds: number | null
  revoked_at_ms: number | null
  revoked_by: string | null
  revoke_reason: string | null
  superseded_at_ms: number | null
  superseded_by: string | null
  overlap_ends_at_ms: number | null
  quarantined_at_ms: number | null
  quarantined_by: string | null
  quarantine_reason: string | null
  /** The token whose quarantine this one shares. */
  quarantine_root: string | null
  last_used_at_ms: number | null
  last_used_ip: string | null
  /** The same in the form that ranges compare (`addressKey`). */
  last_used_ip_key: string | null
  last_used_via: string | null
  last_used_agent: string | null
  use_count: number
  /** Of tokens that the OAuth2 engine issued, like the four below. */
  client_id: string | null
  audience: string | null
  bound_key: string | null
  /** What the engine keeps of the token, sealed. */
  engine_record: string | null
  /** Claims of the ID token that was issued with it, JSON. */
  id_claims: string | null
  /**
   * What a later release restricts the token by, in words of its own. Written by none yet: whoever reads it and
   * does not know each word must take the token for refused.
   */
  must_know: string | null
}

export interface ClientTable {
  id: string
  serial: number
  client_id: string
  name: string
  name_key: string
  type: string
  secret_digest: string | null
  secret_pepper_id: string | null
  secret_preview: string | null
  jwks: string | null
  redirect_uris: string
  post_logout_redirect_uris: string
  grants: string
  scopes: string
  resources: string
  serves: string
  code_ttl: string
  access_token_ttl: string
  refresh_token_ttl: string
  subject_mode: string
  signing_algorithm: string
  require_pkce: number
  application_slug: string | null
  application_name: string | null
  service_user_id: string
  active: number
  created_at_ms: number
  updated_at_ms: number
  deleted_at_ms: number | null
}

export interface GrantTable {
  id: string
  user_id: string
  client_id: string
  session_id: string | null
  scopes: string
  resources: string
  engine_record: string
  created_at_ms: number
  updated_at_ms: number
  expires_at_ms: number
  revoked_at_ms: number | null
}

export interface OauthRecordTable {
  digest: string
  model: string
  uid_digest: string | null
  user_code_digest: string | null
  grant_id: string | null
  sealed: string
  expires_at_ms: number
  consumed_at_ms: number | null
}

export interface BulkJobTable {
  id: string
  action: string
  new_expires_at_ms: number | null
  /** As it was written. */
  query: string
  /** What it meant, as JSON. */
  filter: string
  reason: string
  owner_id: string
  token_id: string
  origin: string
  outlives_token: number
  state: string
  problem: string | null
  /** How far the tokens have been picked, as JSON. */
  place: string | null
  total: number
  done: number
  changed: number
  skipped: number
  created_at_ms: number
  started_at_ms: number | null
  updated_at_ms: number
  finished_at_ms: number | null
  /** The node that works on it, and until when nobody else does. */
  node: string | null
  node_until_ms: number | null
}

export interface AuditTable {
  sequence: number
  at_ms: number
  action: string
  subject_type: string
  subject_id: string
  actor_id: string | null
  actor_name: string | null
  actor_token_id: string | null
  ip: string | null
  request_id: string | null
  via: string
  before: string | null
  after: string | null
  hash: string
}

/** Attempts to use a token, from `start_ms` for one `step`. */
export interface UseCountTable {
  token_id: string
  step: string
  start_ms: number
  outcome: string
  count: number
}

/** Who uses a token while it is being rotated. */
export interface RotationCallerTable {
  token_id: string
  ip: string
  agent: string
  via: string
  uses: number
  first_used_at_ms: number
  last_used_at_ms: number
}

/** What happened to tokens, for those who want to hear of it; numbered like its audit record. */
export interface EventTable {
  id: number
  type: string
  at_ms: number
  token_id: string | null
  /** Of the token, as they were then. */
  owner_id: string | null
  kind: string | null
  name: string | null
  preview: string | null
  expires_at_ms: number | null
  actor_id: string | null
  actor_name: string | null
  /** JSON. */
  details: string
}

export interface WebhookTable {
  id: string
  url: string
  description: string
  /** JSON; null: all. */
  types: string | null
  /** Sealed JSON. */
  secrets: string
  state: string
  paused_because: string | null
  failing_since_ms: number | null
  created_at_ms: number
  updated_at_ms: number
}

export interface DeliveryTable {
  id: string
  webhook_id: string
  event_id: number
  state: string
  attempts: number
  /** When it is tried next; while somebody is trying, when others may take it over. */
  next_at_ms: number
  created_at_ms: number
  ended_at_ms: number | null
  last_status: number | null
  last_error: string | null
}
