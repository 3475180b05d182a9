-- Users of the roles, as an example. It fails as it stands: put the SHA-256 of each password, 64 hexadecimal digits, in the place of its name, in a copy
-- outside the repository. To get one: printf %s "$PASSWORD" | sha256sum

CREATE USER IF NOT EXISTS revstream_consumer IDENTIFIED WITH sha256_hash BY 'SHA256_OF_CONSUMER_PASSWORD';
CREATE USER IF NOT EXISTS revstream_warehouse IDENTIFIED WITH sha256_hash BY 'SHA256_OF_WAREHOUSE_PASSWORD';
CREATE USER IF NOT EXISTS revstream_bi IDENTIFIED WITH sha256_hash BY 'SHA256_OF_BI_PASSWORD' SETTINGS readonly = 2, max_execution_time = 300;
CREATE USER IF NOT EXISTS revstream_bi_pii IDENTIFIED WITH sha256_hash BY 'SHA256_OF_BI_PII_PASSWORD' SETTINGS readonly = 2, max_execution_time = 300;
CREATE USER IF NOT EXISTS revstream_ops IDENTIFIED WITH sha256_hash BY 'SHA256_OF_OPS_PASSWORD' SETTINGS readonly = 2, max_execution_time = 60;

GRANT consumer_writer TO revstream_consumer;
GRANT warehouse_operator TO revstream_warehouse;
GRANT bi_reader TO revstream_bi;
GRANT bi_pii_reader TO revstream_bi_pii;
GRANT ops_reader TO revstream_ops;
