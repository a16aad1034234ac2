-- A store as release 0.1.0 wrote it in format 1: one minion, one job that ended, one that is open.
-- Recorded; grains and boot ids are made up.
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA application_id = 1818321517;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE audit(n INTEGER PRIMARY KEY, at INTEGER NOT NULL, data TEXT NOT NULL, before BLOB NOT NULL,
  hash BLOB NOT NULL);
INSERT INTO "audit" VALUES(1,1795195562785,'{"at":1795195562785,"caller":{"name":"root","via":"socket uid=0"},"what":"make token seed-21ncym for `vm-1`","result":"accepted"}',X'0000000000000000000000000000000000000000000000000000000000000000',X'E8170275D8F64ADFBBD51A23B16D5696699F93104E9D7A7C9893D32E174B513A');
INSERT INTO "audit" VALUES(2,1795195563367,'{"at":1795195563367,"caller":{"name":"root","via":"socket uid=0"},"what":"submit run echo hi `vm-1`","result":"accepted as 01M7WZWVB6EEZ9RZNKD37B6PDS"}',X'E8170275D8F64ADFBBD51A23B16D5696699F93104E9D7A7C9893D32E174B513A',X'535B215367AD34E8D60C53290E27685E6E7D64C77FD6C352E3EF8400C6382318');
INSERT INTO "audit" VALUES(3,1795195563405,'{"at":1795195563405,"caller":{"name":"root","via":"socket uid=0"},"what":"submit run sleep 600 `vm-1`","result":"accepted as 01M7WZWVCCFWJBGT0XKFB247C9"}',X'535B215367AD34E8D60C53290E27685E6E7D64C77FD6C352E3EF8400C6382318',X'B82AD2D35D22F06B0A197E99E997E82F39947289D9F4169E7F8F47F6027557DC');
CREATE TABLE decisions(event INTEGER PRIMARY KEY, at INTEGER NOT NULL, data TEXT NOT NULL);
CREATE TABLE events(number INTEGER PRIMARY KEY, tag TEXT NOT NULL, at INTEGER NOT NULL, data TEXT NOT NULL);
INSERT INTO "events" VALUES(1,'key/vm-1/accepted',1795195562850,'{"number":1,"tag":"key/vm-1/accepted","source":{"kind":"master"},"at":1795195562850,"data":{"minion":"vm-1","fingerprint":"SHA256:XyLv9m74J23NHrQAerSOjoWZDYAKFJVnzy/O0yyclyo","reason":"token seed-21ncym","address":"127.0.0.1"},"hops":0}');
INSERT INTO "events" VALUES(2,'minion/vm-1/online',1795195562866,'{"number":2,"tag":"minion/vm-1/online","source":{"kind":"master"},"at":1795195562866,"data":{"minion":"vm-1","reason":"hello","seen_at":1795195562866,"at":1795195562866},"hops":0}');
INSERT INTO "events" VALUES(3,'minion/vm-1/start',1795195562866,'{"number":3,"tag":"minion/vm-1/start","source":{"kind":"master"},"at":1795195562866,"data":{"minion":"vm-1","boot":true,"boot_id":"00000000-0000-4000-8000-000000000000","version":"0.1.0","sandbox":true,"address":"127.0.0.1"},"hops":0}');
INSERT INTO "events" VALUES(4,'job/accepted',1795195563367,'{"number":4,"tag":"job/accepted","source":{"kind":"master"},"at":1795195563367,"data":{"job":"01M7WZWVB6EEZ9RZNKD37B6PDS","what":"run echo","caller":"root","minions":1,"target":"vm-1"},"hops":0}');
INSERT INTO "events" VALUES(5,'job/ended',1795195563396,'{"number":5,"tag":"job/ended","source":{"kind":"master"},"at":1795195563396,"data":{"job":"01M7WZWVB6EEZ9RZNKD37B6PDS","what":"run echo","caller":"root","ok":true,"words":{"changed":1},"minion":"vm-1"},"hops":0}');
INSERT INTO "events" VALUES(6,'job/accepted',1795195563405,'{"number":6,"tag":"job/accepted","source":{"kind":"master"},"at":1795195563405,"data":{"job":"01M7WZWVCCFWJBGT0XKFB247C9","what":"run sleep","caller":"root","minions":1,"target":"vm-1"},"hops":0}');
CREATE TABLE events_taken(minion TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "events_taken" VALUES('vm-1',1);
CREATE TABLE jobs(n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, at INTEGER NOT NULL, ended INTEGER,
  caller TEXT NOT NULL, data TEXT NOT NULL);
INSERT INTO "jobs" VALUES(1,X'01A1F9FE6D6673BE9C7EB368CEB359B9',1795195563367,1795195563396,'root','{"id":"01M7WZWVB6EEZ9RZNKD37B6PDS","kind":{"kind":"run","command":["echo","hi"],"shell":false,"cwd":null,"user":null,"environment":{},"timeout_ms":3600000},"target":"vm-1","minions":["vm-1"],"caller":{"name":"root","via":"socket uid=0"},"at":1795195563367,"expires":1795195623367,"wait":false,"revision":null,"retry_of":null,"ended":1795195563396,"cancelled":null,"hops":0}');
INSERT INTO "jobs" VALUES(2,X'01A1F9FE6D8C7F24B8681D9BD6221D89',1795195563405,NULL,'root','{"id":"01M7WZWVCCFWJBGT0XKFB247C9","kind":{"kind":"run","command":["sleep","600"],"shell":false,"cwd":null,"user":null,"environment":{},"timeout_ms":3600000},"target":"vm-1","minions":["vm-1"],"caller":{"name":"root","via":"socket uid=0"},"at":1795195563405,"expires":1795195623405,"wait":false,"revision":null,"retry_of":null,"ended":null,"cancelled":null,"hops":0}');
CREATE TABLE keys(fingerprint TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "keys" VALUES('SHA256:XyLv9m74J23NHrQAerSOjoWZDYAKFJVnzy/O0yyclyo','{"fingerprint":"SHA256:XyLv9m74J23NHrQAerSOjoWZDYAKFJVnzy/O0yyclyo","sign":"WMBXH19xnTWPzxa83DCiW5AiNfTn5115r8dAHu5reRQ","seal":"3P4VHHLkxXpFCt3jYTO0eMgL7QF8JLq2NJZxFcNT8Wg","minion":"vm-1","status":"accepted","reason":"token seed-21ncym","address":"127.0.0.1","at":1795195562850,"labels":{},"claims":{"mac":"02:fc:00:00:00:01","os":"debian-12"},"token":"seed-21ncym"}');
CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE minions(id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "minions" VALUES('vm-1','{"id":"vm-1","fingerprint":"SHA256:XyLv9m74J23NHrQAerSOjoWZDYAKFJVnzy/O0yyclyo","labels":{},"grains":{"id":"vm-1","os":"Debian"},"grains_hash":"5dd11dc3cebe5b8e27a312d4171ead20feb5da279d3f3709596dcc6de85b0e73","version":"0.1.0","accepted_at":1795195562850,"seen_at":1795195562866,"boot":"00000000-0000-4000-8000-000000000000","configured_boots":{},"last_apply":null,"address":"127.0.0.1","sandbox":true}');
CREATE TABLE observers(name TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE operators(name TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE recipes(job INTEGER NOT NULL, minion TEXT NOT NULL, place TEXT, sealed BLOB,
  PRIMARY KEY(job, minion));
INSERT INTO "recipes" VALUES(2,'vm-1','{"hash":"21913ebc26587c2a2f9edb82b86a161dfc9833c6494936699cf3d4739013b3a2","size":410,"steps":1,"grants":[]}',X'3ECB7198658F8E771CAF2C995672C5E43344998C63A5949BC1632BF9DF7F1E7C675AD0F6FA7375A3F44CAA4F97BFA4250591326D8B3C21934257A717FE4B40F22C7A71D9C9C0AE89CE805C4508BBEFC47729E080BAF4CDE474D3FE977B411EC33EEF981237DA0E999E80BD0E563A23164A9D1A963DD1AB9AF62208DB60B8BE05A570D8BB2165240E20BC89543FF7979C0E03777A5764A550DEB7C7B5A1CBE5B4F6AD0075A7D573FFE6409F0271A689E90F24411F8CA5DB80F52340853327D2351696C9758F52506C55C19AD79FC7E58113BA92337AE3061F1AFA5D2F1D20491A2FBFE15C156A6A41CD85264D353A1F78AB7374F2BFFF9AC0EFC0E9BA91435129854A50941D25F349FD1D0DA659E3F7666DCCBD2A63EB1D6B5203376E6F2420DB6AB202BA92E59CC4BDB98DC7194787A6A5167C9DDDCB6C0FB1C21D74020A69236837A78ECB8D18A39F907192FF17F5171C1564718248C309CD917BDD83676D489411117BB0542C692B46705A3D1300B318DB9F539CB901C43681BA0032D15CF9BC01F1C912A8C485BDBE0E7345540F6BA8CE868093D7EE989012');
CREATE TABLE reports(job INTEGER NOT NULL, minion TEXT NOT NULL, packed INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY(job, minion));
INSERT INTO "reports" VALUES(1,'vm-1',0,X'7B226D6F6465223A226170706C79222C227374657073223A5B7B22696E646578223A302C226964223A226563686F206869222C22736C73223A2272756E222C226B696E64223A22636D642E72756E222C226E616D65223A226563686F206869222C226F7574636F6D65223A226368616E676564222C22636F6D6D656E74223A22222C22706C616E223A7B226368616E676573223A5B7B2277686174223A22636F6D6D616E64222C2266726F6D223A6E756C6C2C22746F223A226563686F206869222C2264696666223A6E756C6C7D5D7D2C226F7574707574223A7B227374646F7574223A2268695C6E222C22737464657272223A22222C22636F6465223A302C2264726F70706564223A307D2C226475726174696F6E5F6D73223A342C226174223A6E756C6C7D5D2C226475726174696F6E5F6D73223A342C2263616E63656C6C6564223A66616C73652C2273616E64626F78223A747275657D');
CREATE TABLE retained(topic TEXT PRIMARY KEY, payload TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "retained" VALUES('lab/minion/vm-1/availability','online');
CREATE TABLE targets(job INTEGER NOT NULL, minion TEXT NOT NULL, word TEXT NOT NULL, data TEXT NOT NULL,
  PRIMARY KEY(job, minion)) WITHOUT ROWID;
INSERT INTO "targets" VALUES(1,'vm-1','changed','{"job":"01M7WZWVB6EEZ9RZNKD37B6PDS","minion":"vm-1","state":{"state":"ended","word":"changed","at":1795195563396,"duration_ms":4,"tally":{"ok":0,"changed":1,"would_change":0,"failed":0,"skipped":0},"reason":"","code":0},"diagnostics":[]}');
INSERT INTO "targets" VALUES(2,'vm-1','running','{"job":"01M7WZWVCCFWJBGT0XKFB247C9","minion":"vm-1","state":{"state":"running","step":1,"of":1,"at":1795195563522},"diagnostics":[]}');
CREATE TABLE tokens(name TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "tokens" VALUES('seed-21ncym','{"terms":{"name":"seed-21ncym","image_key":"Hup27kKSlEMKGAT5rhBEhLcKDxldU_iHP2qVBE2X06w","ids":"vm-1","labels":{},"cidr":[],"not_before":1795195562000,"expires":1795281962785,"uses":1,"replace":"never"},"used_by":["SHA256:XyLv9m74J23NHrQAerSOjoWZDYAKFJVnzy/O0yyclyo"],"revoked":false,"made_by":"root"}');
CREATE INDEX jobs_open ON jobs(ended) WHERE ended IS NULL;
CREATE INDEX jobs_at ON jobs(at);
CREATE INDEX targets_minion ON targets(minion, job);
CREATE INDEX events_at ON events(at);
COMMIT;
